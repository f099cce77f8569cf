// A program that a user of the API writes: it imports nothing but the client and the types made of the document.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

declare const process: { argv: string[]; stdout: { write(text: string): void } };
type Problem = components["schemas"]["Problem"];
type Project = components["schemas"]["ProjectRead"];

const [baseUrl, email, password] = process.argv.slice(2) as [string, string, string];
const said: Record<string, unknown> = {};

function sure<T>(value: T | undefined, problem: Problem | undefined): T {
  if (value === undefined) throw new Error(problem?.code ?? "no answer");
  return value;
}

const stranger = createClient<paths>({ baseUrl });
const signedIn = await stranger.POST("/v1/auth/sign-in", { body: { email, password } });
const session = sure(signedIn.data, signedIn.error);
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${session.token}` } });

const mine = await client.GET("/v1/me/organizations");
const organization_id: string = sure(mine.data, mine.error).data[0]!.id;
said.organization = organization_id;

async function create(name: string, key: string): Promise<{ project: Project; replayed: string | null }> {
  const made = await client.POST("/v1/organizations/{organization_id}/projects", {
    params: { path: { organization_id }, header: { "Idempotency-Key": `client-${key}` } },
    body: { name, key },
  });
  return { project: sure(made.data, made.error), replayed: made.response.headers.get("Idempotent-Replayed") };
}

const { project, replayed } = await create("Website", "WEB");
const again = await create("Website", "WEB");
said.same = again.project.id === project.id;
said.replayed = [replayed, again.replayed];

const path = { organization_id, project_id: project.id };
const read = await client.GET("/v1/organizations/{organization_id}/projects/{project_id}", { params: { path } });
const etag = read.response.headers.get("ETag") ?? "";
const current = await client.GET("/v1/organizations/{organization_id}/projects/{project_id}", {
  params: { path, header: { "If-None-Match": etag } },
});
said.unchanged = current.response.status;

const changed = await client.PATCH("/v1/organizations/{organization_id}/projects/{project_id}", {
  params: { path, header: { "If-Match": etag } },
  body: { name: "Shop", metadata: { cost_center: "4711", floor: 3, open: true, note: null } },
});
said.changed = sure(changed.data, changed.error);
const late = await client.PATCH("/v1/organizations/{organization_id}/projects/{project_id}", {
  params: { path, header: { "If-Match": etag } },
  body: { status: "paused" },
});
said.late = late.error?.code;

await create("App", "APP");
await create("Shed", "SHED");
const keys: string[] = [];
let cursor: string | null = null;
do {
  const page: { data?: components["schemas"]["ProjectReadPage"]; error?: Problem } = await client.GET(
    "/v1/organizations/{organization_id}/projects",
    { params: { path: { organization_id }, query: { limit: 2, sort: "created_at", ...(cursor && { cursor }) } } },
  );
  const found = sure(page.data, page.error);
  keys.push(...found.data.map((each) => each.key));
  cursor = found.next_cursor;
} while (cursor !== null);
said.keys = keys;

const missing = await client.GET("/v1/organizations/{organization_id}/projects/{project_id}", {
  params: { path: { organization_id, project_id: "prj_01j865wyhvfh6rwqv0e619795n" } },
});
said.missing = missing.error && [missing.error.status, missing.error.code];
const unknown = await client.POST("/v1/organizations/{organization_id}/projects", {
  params: { path: { organization_id } },
  body: { name: "Barn", key: "BARN", team_id: "tea_01j865wyhvfh6rwqv0e619795n" },
});
said.unknown = unknown.error && [unknown.error.status, unknown.error.code, unknown.error.errors?.[0]?.pointer];

process.stdout.write(JSON.stringify(said));
