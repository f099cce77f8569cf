-- The life of a job. Every change of its row in app.outbox happens in a function below, or is an operator's decision.
--
--   waiting --its time comes--> due --claim--> leased --start--> (running) --finish--> done
--      ^                         ^               |                   |
--      |                         '--- release ---'                   |
--      '----------------- fail, or the lease runs out ---------------'--- too often --> dead --> due | discarded
--
-- A claim carries a fresh random secret, the lease, of which the row holds only the hash. Whoever brings the id and the
-- lease runs that one job, as the tenant and the user of the row: nothing a worker is told can name another.
-- Leases run out by the clock, not by the transaction's start: transactions of jobs may be long.

CREATE FUNCTION app.start_job(
    job uuid, lease bytea, seconds double precision,
    OUT verdict text, OUT task text, OUT payload text, OUT attempt integer, OUT failures integer, OUT trace text
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- A row that somebody holds is being run or being taken away: either way this lease is worth nothing any more.
    UPDATE app.outbox AS o
       SET started_at = clock_timestamp(),
           leased_until = clock_timestamp() + make_interval(secs => greatest(0, least(seconds, 100000)))
     WHERE o.id = (
           SELECT i.id FROM app.outbox AS i
            WHERE i.id = job AND i.status = 'leased' AND i.lease_hash = sha256(lease)
              AND i.leased_until > clock_timestamp() AND i.started_at IS NULL
              FOR UPDATE SKIP LOCKED)
    RETURNING o.task, o.payload::text, o.attempt, o.failures, o.trace
         INTO task, payload, attempt, failures, trace;
    verdict := CASE WHEN FOUND THEN 'admitted' ELSE 'stale' END;
    -- Not waiting for the disk: a start forgotten in a crash of the server is only a crash not counted.
    PERFORM set_config('synchronous_commit', 'off', true);
END $$;

-- The door of a job's transaction. It keeps the row locked until the end, so that no sweep takes the job away from a
-- handler that is late, and a second run of the same lease finds the row taken.
CREATE FUNCTION app.enter_job(
    job uuid, lease bytea, OUT verdict text, OUT tenant_id uuid, OUT user_id uuid
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM app.clear_context();
    SELECT o.tenant_id, o.user_id INTO tenant_id, user_id
      FROM app.outbox AS o
     WHERE o.id = job AND o.status = 'leased' AND o.lease_hash = sha256(lease) AND o.leased_until > clock_timestamp()
       FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        verdict := 'stale';
        RETURN;
    END IF;
    verdict := 'admitted';
    PERFORM app.set_context(tenant_id, user_id);
END $$;

-- In the transaction of the handler: its effects and the end of the job are one commit.
CREATE FUNCTION app.finish_job(job uuid, lease bytea) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE app.outbox
       SET status = 'done', finished_at = clock_timestamp(), lease_hash = NULL, leased_until = NULL
     WHERE id = job AND status = 'leased' AND lease_hash = sha256(lease);
    RETURN FOUND;
END $$;

-- retry_in is in seconds; NULL makes it a dead letter. What is said, and for how long, is cut in these doors: a job's SQL
-- may put its own call of them in the place of the program's.
CREATE FUNCTION app.fail_job(job uuid, lease bytea, error text, retry_in double precision) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE app.outbox
       SET status = CASE WHEN retry_in IS NULL THEN 'dead' ELSE 'waiting' END,
           due_at = clock_timestamp() + make_interval(secs => greatest(0, least(coalesce(retry_in, 0), 86400))),
           finished_at = CASE WHEN retry_in IS NULL THEN clock_timestamp() END,
           failures = failures + 1, last_error = left(error, 2000), lease_hash = NULL, leased_until = NULL, started_at = NULL
     WHERE id = job AND status = 'leased' AND lease_hash = sha256(lease);
    RETURN FOUND;
END $$;

-- Back to the queue with nothing counted: the worker is shutting down, or does not know this kind of task yet.
CREATE FUNCTION app.release_job(job uuid, lease bytea, retry_in double precision) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE app.outbox
       SET status = CASE WHEN retry_in > 0 THEN 'waiting' ELSE 'due' END,
           due_at = clock_timestamp() + make_interval(secs => greatest(0, least(retry_in, 86400))),
           lease_hash = NULL, leased_until = NULL, started_at = NULL
     WHERE id = job AND status = 'leased' AND lease_hash = sha256(lease);
    RETURN FOUND;
END $$;

GRANT EXECUTE ON FUNCTION
    app.start_job(uuid, bytea, double precision), app.enter_job(uuid, bytea), app.finish_job(uuid, bytea),
    app.fail_job(uuid, bytea, text, double precision), app.release_job(uuid, bytea, double precision)
    TO app_rw;

-- Take as many due jobs of a queue as there are hashes, fewer where a cap is reached: in turns, one tenant's lane after
-- another in the order of their ids, beginning behind after_lane; next_lane is where to go on, the smallest uuid
-- when the circle is closed. A queue has in_flight jobs under way at most, a lane in it per_lane, and those of `paced` are
-- given no more than `allowed` now. What it costs depends on the number of jobs taken, and of lanes that are passed over
-- because they are at their cap; not on how many are due, here or in other queues. The plan is
-- fixed, since statistics made before a flood would choose a scan of it, and a plan for any number a join with all of it.
-- Each order names the queue too, equal as it is: of texts that are not compared as leakproof the planner does not know it.
CREATE FUNCTION app.claim_jobs(
    from_queue text, lease_hashes bytea[], seconds double precision, in_flight integer, per_lane integer, after_lane uuid,
    paced uuid[], allowed integer[],
    OUT jobs uuid[], OUT attempts integer[], OUT lanes uuid[], OUT next_lane uuid
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
    batch CONSTANT integer := 1000;
    moved integer;
    room integer;
    caps jsonb;  -- by lane: a set of rows would be searched from its beginning for each lane there is
BEGIN
    next_lane := after_lane;
    -- Of every queue: what nobody serves has to be seen as late when its time has come.
    UPDATE app.outbox SET status = 'due'
     WHERE id IN (SELECT id FROM app.outbox WHERE status = 'waiting' AND due_at <= now()
                   ORDER BY due_at LIMIT batch FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved = batch THEN  -- somebody's flood, perhaps: a few of each lane do not stand behind it
        UPDATE app.outbox SET status = 'due'
         WHERE id IN (
            WITH RECURSIVE head (lane, place) AS (
                SELECT first.*, 1
                  FROM (SELECT o.lane FROM app.outbox AS o
                         WHERE o.status = 'waiting' ORDER BY o.lane LIMIT 1) AS first
                UNION ALL
                SELECT next.*, head.place + 1
                  FROM head CROSS JOIN LATERAL (
                       SELECT o.lane FROM app.outbox AS o
                        WHERE o.status = 'waiting' AND o.lane > head.lane ORDER BY o.lane LIMIT 1) AS next
                 WHERE head.place < 10000
            )
            SELECT taken.id
              FROM (SELECT head.lane FROM head
                    UNION SELECT 'ffffffff-ffff-ffff-ffff-ffffffffffff') AS each  -- the program's: behind however many
             CROSS JOIN LATERAL (
                   SELECT o.id FROM app.outbox AS o
                    WHERE o.status = 'waiting' AND o.lane = each.lane AND o.due_at <= now()
                    ORDER BY o.lane, o.due_at LIMIT 10 FOR UPDATE SKIP LOCKED) AS taken);
    END IF;
    PERFORM FROM app.outbox AS o WHERE o.status = 'due' AND o.queue = from_queue ORDER BY o.queue, o.lane LIMIT 1;
    IF NOT FOUND THEN
        next_lane := '00000000-0000-0000-0000-000000000000';
        RETURN;
    END IF;
    -- One relay of a queue at a time: the caps are counted, and two that count at once would both find room. Not an
    -- advisory lock: any login may take those, for a whole session too.
    IF NOT EXISTS (SELECT FROM app.claiming AS c WHERE c.queue = from_queue) THEN
        INSERT INTO app.claiming (queue) VALUES (from_queue) ON CONFLICT DO NOTHING;
    END IF;
    PERFORM FROM app.claiming AS c WHERE c.queue = from_queue FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    room := least(cardinality(lease_hashes), in_flight - (
        SELECT count(*) FROM app.outbox AS o WHERE o.status = 'leased' AND o.queue = from_queue));
    IF room <= 0 THEN
        PERFORM set_config('synchronous_commit', 'off', true);  -- nothing is taken: no need to wait for the disk
        RETURN;
    END IF;

    SELECT coalesce(jsonb_object_agg(cap.lane, cap.quota), '{}') INTO caps
      FROM (SELECT each.lane, min(each.quota) AS quota
              FROM (SELECT o.lane, per_lane - count(*) FROM app.outbox AS o
                     WHERE o.status = 'leased' AND o.queue = from_queue GROUP BY o.lane
                    UNION ALL
                    SELECT * FROM unnest(paced, allowed)) AS each (lane, quota)
             GROUP BY each.lane) AS cap;

    WITH RECURSIVE turn (lane, quota, place) AS (
        SELECT first.*, (first.quota > 0)::integer
          FROM (SELECT o.lane, coalesce((caps ->> o.lane::text)::integer, per_lane) AS quota
                  FROM app.outbox AS o
                 WHERE o.status = 'due' AND o.queue = from_queue AND o.lane > after_lane
                 ORDER BY o.queue, o.lane LIMIT 1) AS first
        UNION ALL
        SELECT next.*, turn.place + (next.quota > 0)::integer
          FROM turn CROSS JOIN LATERAL (
               SELECT o.lane, coalesce((caps ->> o.lane::text)::integer, per_lane) AS quota
                 FROM app.outbox AS o
                WHERE o.status = 'due' AND o.queue = from_queue AND o.lane > turn.lane
                ORDER BY o.queue, o.lane LIMIT 1) AS next
         WHERE turn.place < room
    ), candidate AS (
        SELECT taken.id, taken.due_at, row_number() OVER (PARTITION BY turn.lane ORDER BY taken.due_at, taken.id) AS round
          FROM turn CROSS JOIN LATERAL (
               SELECT o.id, o.due_at FROM app.outbox AS o
                WHERE o.status = 'due' AND o.queue = from_queue AND o.lane = turn.lane
                ORDER BY o.queue, o.lane, o.due_at, o.id
                LIMIT greatest(0, least(room, turn.quota)) FOR UPDATE SKIP LOCKED) AS taken
    ), chosen AS (
        SELECT candidate.id, row_number() OVER (ORDER BY round, due_at, id)::integer AS place
          FROM candidate ORDER BY place LIMIT room
    ), leased AS (
        UPDATE app.outbox AS o
           SET status = 'leased', attempt = o.attempt + 1, started_at = NULL, lease_hash = lease_hashes[chosen.place],
               leased_until = clock_timestamp() + make_interval(secs => seconds)
          FROM chosen WHERE o.id = chosen.id
        RETURNING o.id, o.attempt, o.lane, chosen.place
    ), last AS (
        SELECT turn.lane, turn.place FROM turn ORDER BY turn.lane DESC LIMIT 1
    )
    SELECT array_agg(leased.id ORDER BY leased.place), array_agg(leased.attempt ORDER BY leased.place),
           array_agg(leased.lane ORDER BY leased.place),
           coalesce((SELECT last.lane FROM last WHERE last.place = room), '00000000-0000-0000-0000-000000000000')
      INTO jobs, attempts, lanes, next_lane
      FROM leased;
    IF jobs IS NULL THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
END $$;

-- What was claimed and could not be handed to the queue.
CREATE FUNCTION app.return_claims(jobs uuid[], lease_hashes bytea[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE app.outbox AS o
       SET status = 'due', lease_hash = NULL, leased_until = NULL
      FROM unnest(jobs, lease_hashes) AS claim (job, lease_hash)
     WHERE o.id = claim.job AND o.lease_hash = claim.lease_hash AND o.status = 'leased' AND o.started_at IS NULL;
END $$;

-- Leases that ran out. A job that was started lost its worker: that is a crash, and at crash_limit a dead letter, so
-- that one which kills its workers ends. One that was never started was lost on its way and goes back uncounted; in the
-- queues of `emptied` also when its lease has up to `unstarted` seconds left: whoever serves a queue knows when its list
-- holds nothing, and of other queues, in another Redis perhaps, does not know it.
-- Rows of handlers that are still running are locked, and skipped.
CREATE FUNCTION app.sweep_jobs(crash_limit integer, unstarted double precision, emptied text[])
RETURNS TABLE (task text, status text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    moment CONSTANT timestamptz := clock_timestamp();  -- an index cannot ask the clock
BEGIN
    RETURN QUERY
    WITH lost AS (
        SELECT o.id,
               CASE WHEN o.started_at IS NULL THEN 'due' WHEN o.crashes + 1 >= crash_limit THEN 'dead'
                    ELSE 'waiting' END AS becomes,
               CASE WHEN o.started_at IS NULL THEN 0 ELSE 1 END AS crash
          FROM app.outbox AS o
         WHERE o.status = 'leased' AND o.leased_until < moment + make_interval(secs => unstarted)
           AND (o.leased_until < moment OR o.started_at IS NULL AND o.queue = ANY (emptied))
         ORDER BY o.leased_until LIMIT 1000
           FOR UPDATE SKIP LOCKED
    )
    UPDATE app.outbox AS o
       SET status = lost.becomes, crashes = o.crashes + lost.crash,
           due_at = clock_timestamp() + lost.crash * random() * least(300, power(2, o.crashes)) * interval '1 second',
           finished_at = CASE WHEN lost.becomes = 'dead' THEN clock_timestamp() END,
           last_error = CASE WHEN lost.crash = 1 THEN 'its worker was lost' ELSE o.last_error END,
           lease_hash = NULL, leased_until = NULL, started_at = NULL
      FROM lost WHERE o.id = lost.id
    RETURNING o.task, o.status;
END $$;

-- Seconds that the oldest due job of a queue has waited, of all lanes but these; 0 where none waits. One look for each
-- lane that has any, and no more than ten thousand of them: it is asked often, also while a flood waits.
CREATE FUNCTION app.longest_wait(of_queue text, but uuid[]) RETURNS double precision
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    skipped CONSTANT jsonb := coalesce((SELECT jsonb_object_agg(each.lane, true) FROM unnest(but) AS each (lane)), '{}');
BEGIN
    RETURN (
        WITH RECURSIVE head (lane, due_at, place) AS (
            SELECT first.*, 1
              FROM (SELECT o.lane, o.due_at FROM app.outbox AS o
                     WHERE o.status = 'due' AND o.queue = of_queue ORDER BY o.queue, o.lane, o.due_at LIMIT 1) AS first
            UNION ALL
            SELECT next.*, head.place + 1
              FROM head CROSS JOIN LATERAL (
                   SELECT o.lane, o.due_at FROM app.outbox AS o
                    WHERE o.status = 'due' AND o.queue = of_queue AND o.lane > head.lane
                    ORDER BY o.queue, o.lane, o.due_at LIMIT 1) AS next
             WHERE head.place < 10000
        ), program AS (  -- the letters of sign-up: the last lane, behind however many
            SELECT o.due_at FROM app.outbox AS o
             WHERE o.status = 'due' AND o.queue = of_queue AND o.lane = 'ffffffff-ffff-ffff-ffff-ffffffffffff'
             ORDER BY o.queue, o.lane, o.due_at LIMIT 1
        )
        SELECT coalesce(extract(epoch FROM now() - least(
            (SELECT min(head.due_at) FROM head WHERE NOT skipped ? head.lane::text),
            (SELECT program.due_at FROM program))), 0));
END $$;

-- Up to ten queues beside these in which jobs are due: of another release, or whatever SQL that slipped in wrote there.
-- One look for each queue that has any, and no more than a thousand.
CREATE FUNCTION app.other_queues(known text[]) RETURNS text[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    RETURN ARRAY (
        WITH RECURSIVE head (queue, place) AS (
            SELECT first.*, 1
              FROM (SELECT o.queue FROM app.outbox AS o WHERE o.status = 'due' ORDER BY o.queue LIMIT 1) AS first
            UNION ALL
            SELECT next.*, head.place + 1
              FROM head CROSS JOIN LATERAL (
                   SELECT o.queue FROM app.outbox AS o
                    WHERE o.status = 'due' AND o.queue > head.queue ORDER BY o.queue LIMIT 1) AS next
             WHERE head.place < 1000
        )
        SELECT head.queue FROM head WHERE head.queue <> ALL (known) LIMIT 10);
END $$;

-- Bearer secrets that nobody can use any more; a while longer they tell a curious operator what became of them.
-- One that somebody holds waits for the next time: SQL in an organization can lock those of its invitations.
CREATE FUNCTION app.purge_credentials(age interval, batch integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    purged integer;
BEGIN
    DELETE FROM app.credential WHERE id IN (
        SELECT id FROM (SELECT id FROM app.credential WHERE expires_at < least(now() - age, now())
                         ORDER BY expires_at LIMIT batch FOR UPDATE SKIP LOCKED) AS expired
        UNION ALL
        SELECT id FROM (SELECT id FROM app.credential WHERE revoked_at < least(now() - age, now())
                         ORDER BY revoked_at LIMIT batch FOR UPDATE SKIP LOCKED) AS revoked);
    GET DIAGNOSTICS purged = ROW_COUNT;
    RETURN purged;
END $$;

GRANT EXECUTE ON FUNCTION
    app.claim_jobs(text, bytea[], double precision, integer, integer, uuid, uuid[], integer[]),
    app.return_claims(uuid[], bytea[]), app.sweep_jobs(integer, double precision, text[]),
    app.longest_wait(text, uuid[]), app.other_queues(text[]), app.purge_credentials(interval, integer)
    TO app_platform;
