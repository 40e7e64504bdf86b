# One file, three images: docker build --target api|worker|simulator .
# Node runs the TypeScript sources as they are. It strips types only outside node_modules, so the workspace's
# own packages stay where they are and are linked, instead of being copied as `pnpm deploy` would.

FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json pnpm-lock.yaml pnpm-workspace.yaml ./
COPY apps/api/package.json apps/api/
COPY apps/worker/package.json apps/worker/
COPY apps/simulator/package.json apps/simulator/
COPY packages/dispatch/package.json packages/dispatch/
COPY packages/providers/package.json packages/providers/
RUN npx -y pnpm@12 install --frozen-lockfile --prod

FROM node:24-bookworm-slim AS base
ENV NODE_ENV=production
WORKDIR /app
COPY --from=dependencies /app ./
COPY apps apps
COPY packages packages
# The image's user `node`; as a number, an orchestrator can see that it is not root.
USER 1000:1000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch(process.env.HEALTH_URL).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]

FROM base AS simulator
ENV SIMULATOR_HOST=0.0.0.0 HEALTH_URL=http://127.0.0.1:3100/health/live
EXPOSE 3100
CMD ["node", "apps/simulator/src/main.ts"]

FROM base AS worker
ENV WORKER_HOST=0.0.0.0 ACCOUNTS_FILE=/config/accounts.json HEALTH_URL=http://127.0.0.1:3001/health/ready
EXPOSE 3001
CMD ["node", "apps/worker/src/main.ts"]

FROM base AS api
ENV API_HOST=0.0.0.0 ACCOUNTS_FILE=/config/accounts.json HEALTH_URL=http://127.0.0.1:3000/health/ready
EXPOSE 3000
CMD ["node", "apps/api/src/main.ts"]
