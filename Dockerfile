# One image for the Prefect server, the worker, and the Dask scheduler and workers.
#   docker build -t reelvec:0.1.0 .
#   docker build -t reelvec:0.1.0-cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
FROM python:3.11.14-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

FROM base AS wheel
COPY . /src
RUN pip wheel --no-deps --wheel-dir /wheel /src

FROM base
# CPU by default; an index of https://download.pytorch.org/whl/ for CUDA
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY requirements.lock /tmp/requirements.lock
# torch first and alone: the lock's torch==X is then met by X+cpu or X+cu…, its libraries by the lock
RUN pip install --no-deps --index-url "$TORCH_INDEX" "$(grep '^torch==' /tmp/requirements.lock)" \
 && pip install -r /tmp/requirements.lock
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    pip install --no-deps /wheel/reelvec-*.whl
RUN useradd --uid 10001 --create-home reelvec \
 && install -d -o reelvec -g reelvec /data /data/videos
# Relative stores and videos are found below REELVEC_HOME
ENV REELVEC_HOME=/data DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false
USER 10001:10001
WORKDIR /data
VOLUME /data
CMD ["reelvec", "--help"]
