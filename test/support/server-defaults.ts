/** What a KubeletServer is when nobody configures it otherwise. */
export const SERVER_DEFAULTS = {
  authentication: { anonymous: false, webhook: true, cacheMs: 120_000 },
  authorization: { mode: "Webhook", allowedMs: 300_000, refusedMs: 30_000 },
  enableServer: true,
  enableDebuggingHandlers: true,
  enableSystemLogHandler: true,
  tlsMinVersion: "VersionTLS12",
  tlsCipherSuites: [],
} as const;
