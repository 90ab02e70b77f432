# The image of the sidecar (docs/egress-sidecar.md), from the top of this repository:
#
#   docker build -f examples/kubernetes/egress.Dockerfile -t registry.example.com/opensandbox-egress .
#
# egress runs as it is written, so there is nothing to build: its packages, its files, nft and ip.

FROM node:24-bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates iproute2 nftables \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/opensandbox-edge
COPY package.json package-lock.json ./
# Scripts of packages build what egress does not use.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund && npm cache clean --force
COPY lib lib
COPY egress egress
# What holds for every policy of the cluster, if anything (egress/sidecar/always-files.ts):
# COPY deny.always allow.always /var/egress/rules/
ENTRYPOINT ["node", "egress/main.ts", "--sidecar"]
