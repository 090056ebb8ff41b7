"""`tollkeeper monitoring`: print what Prometheus and Grafana are to be given."""

from collections.abc import Callable

import click

from gateway.monitoring.dashboards import DASHBOARDS
from gateway.monitoring.panel import write_dashboard
from gateway.monitoring.rules import FREE, RUNBOOKS, Terms, write_manifests, write_rules


def _terms(command: Callable[..., None]) -> Callable[..., None]:
    """The options of whatever holds alerts."""
    for option in (
        click.option("--free", default=FREE, show_default=True, help="Tiers that nobody pays for, as a pattern."),
        click.option("--runbooks", default=RUNBOOKS, show_default=True, help="Where monitoring/README.md is read."),
        click.option("--scale", default=1.0, type=click.FloatRange(min=1), help="Divides every window, to try them."),
    ):
        command = option(command)
    return command


@click.group()
def monitoring() -> None:
    """Print alerts, dashboards and manifests."""


@monitoring.command()
@_terms
def alerts(scale: float, runbooks: str, free: str) -> None:
    """The rule file of Prometheus."""
    click.echo(write_rules(Terms(scale, runbooks, free)), nl=False)


@monitoring.command()
@_terms
def manifests(scale: float, runbooks: str, free: str) -> None:
    """A ServiceMonitor and a PrometheusRule, for the operator on Kubernetes."""
    click.echo(write_manifests(Terms(scale, runbooks, free)), nl=False)


@monitoring.command()
@click.argument("name", type=click.Choice(list(DASHBOARDS)))
def dashboard(name: str) -> None:
    """One dashboard of Grafana."""
    click.echo(write_dashboard(DASHBOARDS[name]), nl=False)
