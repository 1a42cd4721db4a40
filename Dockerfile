# The whole pipeline in one image: no network, no privileges and no fixed user needed at run time.
#   docker build -t d2r .
#   docker run --rm -v "$PWD/results:/d2r/results" --user "$(id -u):$(id -g)" d2r snakemake --cores 8 all
# To fix the base to the byte, pass --build-arg BASE=debian:bookworm-slim@sha256:<digest>.
ARG BASE=debian:bookworm-slim

# The compiler stays out of the image: it builds a small library (docs/performance.md) in a stage of its own.
FROM ${BASE} AS kernel
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends g++ python3 \
 && rm -rf /var/lib/apt/lists/*
COPY d2r/kernel/ /kernel/
RUN python3 /kernel/build.py

FROM ${BASE}

RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 python3-venv tini libosmesa6 \
 && rm -rf /var/lib/apt/lists/*

# Dependencies come before the source, so that a change of the source leaves this layer alone.
ARG TORCH=cpu
WORKDIR /d2r
COPY requirements-cpu.lock requirements-cuda.lock ./
COPY requirements/ requirements/
# Behind a mirror, --build-arg PIP_INDEX_URL=... and PIP_FIND_LINKS=...; what is not given is not set.
ARG PIP_INDEX_URL
ARG PIP_FIND_LINKS
RUN python3 -m venv /opt/venv \
 && PIP_NO_CACHE_DIR=1 requirements/install.sh /opt/venv ${TORCH} --dependencies-only

# Caches and scratch files go to /tmp, the one place beside results/ that must be writable; then any user id
# will do (docker run --user) and the root file system may be read-only (docker run --read-only --tmpfs /tmp).
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp USER=d2r XDG_CACHE_HOME=/tmp/cache MPLCONFIGDIR=/tmp/matplotlib \
    MUJOCO_GL=disable PYTHONUNBUFFERED=1
COPY docker/dvc.config /etc/xdg/dvc/config

COPY . .
COPY --from=kernel /kernel/built/ d2r/kernel/built/
# Snakemake's record of what is complete belongs to the results and outlives the container with them.
RUN useradd --uid 1000 --no-create-home --home-dir /tmp d2r \
 && pip --isolated install --no-cache-dir --no-deps --no-build-isolation --editable . \
 && mkdir -p results \
 && ln -s results/.snakemake .snakemake \
 && python -m compileall -q d2r \
 && python docker/sbom.py > /usr/share/sbom.cdx.json \
 && chown -R d2r:d2r /d2r \
 && chmod -R a+rwX /d2r

# Results name the commit they come from; the image holds no .git to ask.
ARG COMMIT=unknown
ENV D2R_COMMIT=${COMMIT}

USER d2r
# -g: `docker stop` reaches the training processes and not only Snakemake, which would wait for them.
ENTRYPOINT ["tini", "-g", "--", "/d2r/docker/entrypoint.sh"]
CMD ["d2r", "--help"]
