// The same routes with Fastify and node-postgres, in a process of its own.
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import Fastify from "fastify";
import { Redis } from "ioredis";
import pg from "pg";
import { v7 } from "uuid";

const { PEER_DATABASE_URL, PEER_REDIS_URL, PEER_SECRET, PEER_PER_MINUTE, PEER_PORT } = process.env;
const LAST = "ffffffff-ffff-ffff-ffff-ffffffffffff";
const WORKERS = new Set(["owner", "admin", "member"]);
const READERS = new Set([...WORKERS, "viewer"]);

const LIVE = `
  FROM app.credential AS c JOIN app."user" AS u ON u.id = c.user_id AND u.disabled_at IS NULL`;
const GOOD = `
 WHERE c.hash = $1 AND c.kind = 'session' AND c.revoked_at IS NULL AND c.expires_at > now()
   AND c.last_used_at + c.idle_timeout > now()`;
const SIGNED_IN = `SELECT u.id, u.name, u.email, u.created_at, u.updated_at, u.version ${LIVE} ${GOOD}`;
const MEMBER = `
SELECT u.id, c.id AS credential_id, m.id AS membership_id, m.role, o.id AS organization_id ${LIVE}
  LEFT JOIN app.membership AS m ON m.user_id = u.id AND m.tenant_id = $2 AND m.status = 'active'
  LEFT JOIN app.organization AS o ON o.id = m.tenant_id AND o.suspended_at IS NULL AND o.deleted_at IS NULL ${GOOD}`;
const COLUMNS = `id, name, key, status, team_id, metadata, created_by, created_at, updated_at, deleted_at, version`;
const PAGE = `
SELECT ${COLUMNS} FROM app.project WHERE tenant_id = $1 AND deleted_at IS NULL AND id < $2 ORDER BY id DESC LIMIT $3`;
const ONE = `SELECT ${COLUMNS} FROM app.project WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL`;
const PROJECT = `
INSERT INTO app.project (tenant_id, id, name, name_norm, key, status, team_id, metadata, created_by, created_at,
                         updated_at, version)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, 1)`;
const EVENT = `
INSERT INTO app.event (tenant_id, id, type, version, actor_type, actor_id, credential_id, target_type, target_id, data,
                       context)
VALUES ($1, $2, 'project.created', 1, 'user', $3, $4, 'project', $5, $6, '{}')`;
const JOB = `
INSERT INTO app.outbox (id, tenant_id, user_id, lane, task, payload) VALUES ($1, $2, $3, $2, 'bench.announce', $4)`;
const KEEP = `INSERT INTO app.idempotency (user_id, key_hash, fingerprint, answer) VALUES ($1, $2, $3, $4)`;
const KEPT = `SELECT fingerprint, answer FROM app.idempotency WHERE user_id = $1 AND key_hash = $2`;

const text = { type: "string" };
const nullable = { type: ["string", "null"] };
const moment = { type: "string", format: "date-time" };
const id = { type: "string", format: "uuid" };
const values = { type: ["string", "number", "boolean", "null"] };
const read = {
  type: "object",
  properties: {
    id: text,
    name: text,
    key: text,
    status: text,
    team_id: nullable,
    metadata: { type: "object", additionalProperties: true },
    created_by: nullable,
    created_at: moment,
    updated_at: moment,
    deleted_at: { type: ["string", "null"], format: "date-time" },
    version: { type: "integer" },
  },
};
const page = { type: "object", properties: { data: { type: "array", items: read }, next_cursor: nullable } };
const me = {
  type: "object",
  properties: { id: text, name: text, email: text, created_at: moment, updated_at: moment, version: { type: "integer" } },
};
const create = {
  type: "object",
  required: ["name", "key"],
  additionalProperties: false,
  properties: {
    name: { type: "string", minLength: 1, maxLength: 200 },
    key: { type: "string", pattern: "^[A-Z][A-Z0-9]{1,9}$" },
    status: { enum: ["active", "paused", "archived"], default: "active" },
    team_id: { type: ["string", "null"], format: "uuid", default: null },
    metadata: { type: "object", maxProperties: 50, additionalProperties: values, default: {} },
  },
};
const within = { type: "object", properties: { organization_id: id } };
const of_page = {
  type: "object",
  properties: {
    limit: { type: "integer", minimum: 1, maximum: 100, default: 20 },
    cursor: { type: "string", maxLength: 1000 },
  },
};
const of_create = {
  type: "object",
  required: ["idempotency-key"],
  properties: { "idempotency-key": { type: "string", minLength: 1, maxLength: 255 } },
};

const pool = new pg.Pool({ connectionString: PEER_DATABASE_URL, max: 8, min: 8, idleTimeoutMillis: 0 });
const redis = new Redis(PEER_REDIS_URL);
const app = Fastify({ logger: false, ajv: { customOptions: { allowUnionTypes: true } } });
app.decorateRequest("caller", null);

class Refused extends Error {
  constructor(statusCode) {
    super("refused");
    this.statusCode = statusCode;
  }
}

async function signedIn(request) {
  const found = await pool.query({ name: "signed in", text: SIGNED_IN, values: [digest(bearer(request))] });
  if (!found.rows.length) throw new Refused(401);
  request.caller = found.rows[0];
  await count(request.caller.id);
}

const may = (roles) => async (request) => {
  const asked = [digest(bearer(request)), request.params.organization_id];
  const found = await pool.query({ name: "member", text: MEMBER, values: asked });
  if (!found.rows.length) throw new Refused(401);
  const caller = found.rows[0];
  if (caller.organization_id === null) throw new Refused(404);
  await count(caller.id);
  if (!roles.has(caller.role)) throw new Refused(403);
  request.caller = caller;
};

function bearer(request) {
  const shown = request.headers.authorization ?? "";
  if (!shown.startsWith("Bearer ")) throw new Refused(401);
  return shown.slice(7);
}

async function count(caller) {
  const key = `peer:${caller}:${Math.floor(Date.now() / 60000)}`;
  const [[, counted]] = await redis.pipeline().incr(key).expire(key, 60).exec();
  if (counted > Number(PEER_PER_MINUTE)) throw new Refused(429);
}

app.get("/ready", async () => (await pool.query("SELECT 1")).rowCount);

app.get("/me", { onRequest: signedIn, schema: { response: { 200: me } } }, async (request) => request.caller);

app.get(
  "/organizations/:organization_id/projects",
  { preHandler: may(READERS), schema: { params: within, querystring: of_page, response: { 200: page } } },
  async (request) => {
    const { limit, cursor } = request.query;
    const asked = [request.params.organization_id, cursor ? opened(cursor) : LAST, limit + 1];
    const { rows } = await pool.query({ name: "page", text: PAGE, values: asked });
    const data = rows.slice(0, limit);
    return { data, next_cursor: rows.length > limit ? sealed(data[limit - 1].id) : null };
  },
);

app.get(
  "/organizations/:organization_id/projects/:project_id",
  {
    preHandler: may(READERS),
    schema: { params: { type: "object", properties: { organization_id: id, project_id: id } }, response: { 200: read } },
  },
  async (request) => {
    const { organization_id, project_id } = request.params;
    const { rows } = await pool.query({ name: "one", text: ONE, values: [organization_id, project_id] });
    if (!rows.length) throw new Refused(404);
    return rows[0];
  },
);

app.post(
  "/organizations/:organization_id/projects",
  { preHandler: may(WORKERS), schema: { params: within, headers: of_create, body: create, response: { 201: read } } },
  async (request, reply) => {
    reply.code(201);
    const { caller, body } = request;
    const tenant = request.params.organization_id;
    const now = new Date();
    const { membership_id: created_by } = caller;
    const project = { id: v7(), ...body, created_by, created_at: now, updated_at: now, deleted_at: null, version: 1 };
    const name = digest(`${tenant} ${request.headers["idempotency-key"]}`);
    const kept = [caller.id, name, digest(JSON.stringify(body)), Buffer.from(JSON.stringify(project))];
    return (await written(tenant, caller, project, kept)) ? project : repeated(kept);
  },
);

async function written(tenant, caller, project, kept) {
  const { id, name, key, status, team_id, metadata, created_by, created_at } = project;
  const row = [tenant, id, name, name.toLowerCase(), key, status, team_id, metadata, created_by, created_at];
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    await client.query({ name: "project", text: PROJECT, values: row });
    await client.query({
      name: "event",
      text: EVENT,
      values: [tenant, v7(), caller.id, caller.credential_id, id, { name, key }],
    });
    await client.query({ name: "job", text: JOB, values: [v7(), tenant, caller.id, { project_id: id }] });
    await client.query({ name: "keep", text: KEEP, values: kept });
    await client.query("COMMIT");
    return true;
  } catch (error) {
    await client.query("ROLLBACK");
    if (error.code === "23505") return false;
    throw error;
  } finally {
    client.release();
  }
}

// The answer that was kept for this key; without one it is the project's own key that was taken.
async function repeated([user, name, fingerprint]) {
  const { rows } = await pool.query({ name: "kept", text: KEPT, values: [user, name] });
  if (!rows.length) throw new Refused(409);
  if (!rows[0].fingerprint.equals(fingerprint)) throw new Refused(422);
  return JSON.parse(rows[0].answer);
}

const digest = (secret) => createHash("sha256").update(secret).digest();
const mac = (position) => createHmac("sha256", PEER_SECRET).update(position).digest().subarray(0, 16);

function sealed(last) {
  const position = Buffer.from(last.replaceAll("-", ""), "hex");
  return Buffer.concat([mac(position), position]).toString("base64url");
}

function opened(cursor) {
  const found = Buffer.from(cursor, "base64url");
  const position = found.subarray(16);
  if (found.length !== 32 || !timingSafeEqual(mac(position), found.subarray(0, 16))) throw new Refused(400);
  return position.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

await app.listen({ host: "127.0.0.1", port: Number(PEER_PORT) });
