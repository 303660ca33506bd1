# vdtui with CUDA builds of torch, for a server with the NVIDIA driver and its container toolkit (docs/install.md).
FROM python:3.12-slim

WORKDIR /src
COPY pyproject.toml setup.py README.md LICENSE ./
COPY engine engine
COPY vdtui vdtui
COPY presets presets
RUN pip install --no-cache-dir . && rm -rf /src

# Any user may run it: caches go where everybody may write; data and runs are mounted at /work.
ENV HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib TERM=xterm-256color
WORKDIR /work
ENTRYPOINT ["vdtui"]
CMD ["doctor"]
