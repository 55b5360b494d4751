# syntax=docker/dockerfile:1
# The node in a container. torch brings its own CUDA libraries; the base image contributes the hooks for the driver.
#     docker build -t voxtell-dicom .
#     docker run --init --gpus all -p 104:11112 -v ./node.yaml:/etc/voxtell-dicom/node.yaml:ro \
#         -v ./models:/models:ro -v voxtell-data:/data voxtell-dicom
# In that node.yaml: dimse host 0.0.0.0, storage /data, model directory /models/voxtell_v1.1.
FROM nvidia/cuda:12.8.1-base-ubuntu24.04 AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml setup.py constraints.txt README.md CHANGELOG.md CONTRIBUTING.md LICENSE NOTICE Dockerfile ./
COPY docs docs
COPY config config
COPY packaging packaging
COPY benchmarks/RESULTS.md benchmarks/RESULTS.md
COPY voxtell_dicom voxtell_dicom
RUN python3 -m venv /opt/voxtell-dicom \
    && /opt/voxtell-dicom/bin/pip install --no-cache-dir -c constraints.txt '.[postgresql]' \
    && /opt/voxtell-dicom/bin/pip uninstall -y torchvision

FROM nvidia/cuda:12.8.1-base-ubuntu24.04
LABEL org.opencontainers.image.title="voxtell-dicom" \
      org.opencontainers.image.description="DICOM node for free-text 3-D segmentation. Research use only, not a medical device." \
      org.opencontainers.image.licenses="Apache-2.0"
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 tzdata \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data --create-home --shell /usr/sbin/nologin voxtell \
    && mkdir -p /models /etc/voxtell-dicom \
    && chown voxtell:voxtell /data
COPY --from=build /opt/voxtell-dicom /opt/voxtell-dicom
ENV PATH=/opt/voxtell-dicom/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    VOXTELL_DICOM_CONFIG=/etc/voxtell-dicom/node.yaml
USER 10001
WORKDIR /data
VOLUME ["/models", "/data"]
EXPOSE 11112 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=60s --timeout=30s --start-period=120s --retries=3 \
    CMD ["voxtell-dicom", "health"]
ENTRYPOINT ["voxtell-dicom"]
CMD ["serve", "-c", "/etc/voxtell-dicom/node.yaml"]
