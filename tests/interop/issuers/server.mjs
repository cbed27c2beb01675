// A Better-Auth server with its JWT plugin: accounts in memory, tokens for the gateway at GATEWAY_URL.
import { createServer } from "node:http";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { toNodeHandler } from "better-auth/node";
import { bearer, jwt } from "better-auth/plugins";

const base = `http://127.0.0.1:${process.env.PORT}`;
const store = { user: [], session: [], account: [], verification: [], jwks: [] };
const auth = betterAuth({
  baseURL: base,
  secret: crypto.randomUUID() + crypto.randomUUID(),
  database: memoryAdapter(store),
  emailAndPassword: { enabled: true },
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  logger: { level: "error" },
  plugins: [
    bearer(),
    jwt({
      jwks: { keyPairConfig: { alg: process.env.ALGORITHM } },
      jwt: {
        audience: process.env.GATEWAY_URL,
        definePayload: ({ user }) => ({ name: user.name, teams: [user.name.toLowerCase()] }),
      },
    }),
  ],
});
createServer(toNodeHandler(auth)).listen(Number(process.env.PORT), "127.0.0.1");
