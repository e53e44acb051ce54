# FAS on a CPU: docker build -f docker/cpu.Dockerfile -t fas-alm:cpu .
FROM python:3.11-slim-bookworm

# Wheels of torch without CUDA are smaller by gigabytes: --build-arg TORCH_INDEX=the index that pytorch.org names for CPUs.
ARG TORCH_INDEX=""
ARG EXTRAS="offline,offline-base,media,serve,alm"

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libsndfile1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 fas

WORKDIR /opt/fas
COPY constraints constraints
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} --constraint constraints/cpu.txt torch
COPY pyproject.toml setup.py README.md LICENSE LICENSES.md ./
COPY train/configs train/configs
COPY fas_core fas_core
COPY fas_alm fas_alm
COPY eval eval
COPY serve serve
RUN pip install --no-cache-dir --constraint constraints/cpu.txt ".[$EXTRAS]"
COPY docker/serve.sh /usr/local/bin/fas-serve

# The folder of the sources would win over what is installed.
WORKDIR /home/fas
USER 10001
ENV HF_HUB_OFFLINE=1 OMP_WAIT_POLICY=PASSIVE PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["fas-serve"]
CMD ["--fas-only"]
