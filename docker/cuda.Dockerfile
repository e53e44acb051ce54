# FAS and FAS-ALM behind vLLM on a GPU: docker build -f docker/cuda.Dockerfile -t fas-alm:cuda .
FROM nvidia/cuda:12.8.1-devel-ubuntu24.04

ARG EXTRAS="offline,offline-base,media,serve,alm,vllm"

# A compiler and Python's headers: Triton compiles its launchers on the machine that it runs on.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential libsndfile1 python3 python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 fas \
    && python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH

WORKDIR /opt/fas
COPY pyproject.toml setup.py README.md LICENSE LICENSES.md ./
COPY train/configs train/configs
COPY fas_core fas_core
COPY fas_alm fas_alm
COPY eval eval
COPY serve serve
# The versions are the ranges of pyproject.toml.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir ".[$EXTRAS]"
COPY docker/serve.sh /usr/local/bin/fas-serve

WORKDIR /home/fas
USER 10001
ENV HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=600s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["fas-serve"]
CMD ["--fas-only"]
