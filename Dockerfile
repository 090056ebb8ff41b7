# The gateway without engines: they come as servers of their own (`http` backends), or in an image built on this one.

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY requirements.lock .
RUN python -m venv /opt/tollkeeper \
    && /opt/tollkeeper/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
COPY plugins plugins
COPY backends backends
RUN /opt/tollkeeper/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/tollkeeper --create-home tollkeeper
COPY --from=build /opt/tollkeeper /opt/tollkeeper
ENV PATH=/opt/tollkeeper/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TOLLKEEPER_CONFIG=/etc/tollkeeper/gateway.yaml
USER 10001
WORKDIR /var/lib/tollkeeper
VOLUME /var/lib/tollkeeper
EXPOSE 8000 8100
# The configuration is mounted; its status address must be reachable here for the check.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8100/health', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["tollkeeper"]
CMD ["serve"]
