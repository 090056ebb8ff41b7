"""What Prometheus and Grafana are given: alerts, dashboards, manifests. Printed by `tollkeeper monitoring`."""
