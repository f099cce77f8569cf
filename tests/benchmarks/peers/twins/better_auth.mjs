// better-auth's check of a session, behind its own route and called by a route of Fastify, in a process of its own.
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { fromNodeHeaders, toNodeHandler } from "better-auth/node";
import Fastify from "fastify";
import { Redis } from "ioredis";
import pg from "pg";

const { PEER_AUTH_DATABASE_URL, PEER_REDIS_URL, PEER_SECRET, PEER_PER_MINUTE, PEER_PORT } = process.env;

const redis = new Redis(PEER_REDIS_URL);
const auth = betterAuth({
  baseURL: `http://127.0.0.1:${PEER_PORT}`,
  secret: PEER_SECRET,
  database: new pg.Pool({ connectionString: PEER_AUTH_DATABASE_URL, max: 8, min: 8, idleTimeoutMillis: 0 }),
  emailAndPassword: { enabled: true },
  session: { cookieCache: { enabled: false } },
  rateLimit: { enabled: false }, // counted below as the others do, in one round trip and not in its two
  telemetry: { enabled: false },
  advanced: { database: { joins: true } },
});
const migrations = await getMigrations(auth.options);
await migrations.runMigrations();

async function count(caller) {
  const key = `peer:${caller}:${Math.floor(Date.now() / 60000)}`;
  const [[, counted]] = await redis.pipeline().incr(key).expire(key, 60).exec();
  return counted <= Number(PEER_PER_MINUTE);
}

const moment = { type: "string", format: "date-time" };
const text = { type: "string" };
const me = {
  type: "object",
  properties: { id: text, name: text, email: text, createdAt: moment, updatedAt: moment },
};

const app = Fastify({ logger: false });
app.get("/ready", async () => 1);

app.get("/me", { schema: { response: { 200: me } } }, async (request, reply) => {
  const found = await auth.api.getSession({ headers: fromNodeHeaders(request.headers) });
  if (!found) return reply.code(401).send();
  if (!(await count(found.user.id))) return reply.code(429).send();
  return found.user;
});

const handler = toNodeHandler(auth);
await app.register(async (routes) => {
  routes.removeAllContentTypeParsers();
  routes.addContentTypeParser("*", (request, payload, done) => done(null));
  routes.all("/api/auth/*", async (request, reply) => {
    if (!(await count(request.headers.cookie ?? ""))) return reply.code(429).send();
    reply.hijack();
    await handler(request.raw, reply.raw);
  });
});

await app.listen({ host: "127.0.0.1", port: Number(PEER_PORT) });
