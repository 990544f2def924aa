# The server (or, with another command, the page) in a container that is no root and writes only to its home and /tmp.
#   docker build -t facellm .
#   docker run --memory 8g --pids-limit 512 --read-only --tmpfs /tmp -p 127.0.0.1:8000:8000 facellm
# Other models need a place for their weights: --volume facellm-models:/home/facellm/models
FROM python:3.12-slim AS build
# What pip is told besides, e.g. the index of torch's CPU builds, which are a tenth of the size.
ARG PIP_ARGS=""
WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY facellm facellm
COPY demo demo
COPY train train
# hadolint ignore=SC2086
RUN python -m venv /opt/facellm \
    && /opt/facellm/bin/pip install --no-cache-dir --constraint constraints.txt ${PIP_ARGS} ".[demo,serve]"

FROM python:3.12-slim
RUN useradd --uid 10001 --create-home facellm \
    && install --directory --owner 10001 /home/facellm/models
COPY --from=build /opt/facellm /opt/facellm
# Two arenas: what many threads have freed goes back to the system rather than being kept in one arena for each.
ENV PATH=/opt/facellm/bin:$PATH \
    HF_HOME=/home/facellm/models \
    MALLOC_ARENA_MAX=2 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /home/facellm
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["facellm"]
CMD ["serve", "--model", "nano", "--host", "0.0.0.0", "--log-json"]
