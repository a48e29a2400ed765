-- 200,000 people, 500,000 runs, a million mails and two million events of the last 60 days.
INSERT INTO contacts (id, external_id, email, properties, first_seen_at, last_seen_at, created_at,
                      updated_at)
SELECT md5('c' || n)::uuid, 'user-' || n, 'user' || n || '@people.example', '{"plan":"pro"}',
       at, at, at, at
FROM (SELECT n, now() - n * interval '13 seconds' AS at FROM generate_series(1, 200000) n) s;

INSERT INTO email_preferences (contact_id, unsubscribed_all, updated_at)
SELECT md5('c' || n)::uuid, n % 10 = 0, now() FROM generate_series(1, 200000, 5) n;

INSERT INTO journey_states (id, journey_id, contact_id, plugin_id, plugin_version, status,
                            current_node_id, trigger_event, context, person, depth, wake_at,
                            created_at, updated_at, completed_at)
SELECT md5('s' || n)::uuid, 'journey-' || n % 20, md5('c' || (n % 200000 + 1))::uuid, 'bench', '1.0.0',
       CASE WHEN n <= 200000 THEN 'waiting' WHEN n % 1000 = 3 THEN 'failed' ELSE 'completed' END,
       'sleep', 'signed_up', '{}', '{}', 0,
       CASE WHEN n <= 200000 THEN now() + interval '30 days' END,
       at, at, CASE WHEN n > 200000 THEN at END
FROM (SELECT n, now() - n * interval '10 seconds' AS at FROM generate_series(1, 500000) n) s;

INSERT INTO journey_logs (id, state_id, from_status, to_status, action, created_at)
SELECT gen_random_uuid(), md5('s' || n)::uuid, NULL, 'active', 'enrolled', now()
FROM generate_series(1, 500000) n;

INSERT INTO enrolment_skips (id, journey_id, contact_id, event_id, reason, created_at)
SELECT gen_random_uuid(), 'journey-' || n % 20, md5('c' || (n % 200000 + 1))::uuid,
       gen_random_uuid(), 'already_enrolled', now()
FROM generate_series(1, 500000) n;

INSERT INTO email_sends (id, contact_id, journey_state_id, step_seq, template_key, category,
                         from_email, to_email, subject, mail, provider, idempotency_key, status,
                         attempts, message_id, created_at, updated_at, sent_at, delivered_at,
                         opened_at, clicked_at, bounced_at, complained_at)
SELECT md5('e' || n)::uuid, md5('c' || (n % 200000 + 1))::uuid,
       CASE WHEN n <= 500000 THEN md5('s' || n)::uuid END, CASE WHEN n <= 500000 THEN 1 END,
       'template-' || n % 12, 'lifecycle', 'us@product.example',
       'user' || (n % 200000 + 1) || '@people.example', 'How it goes',
       jsonb_build_object('html', repeat(md5(n::text), 60)), 'resend', 'key-' || n,
       CASE WHEN n % 5000 = 0 THEN 'failed' WHEN n % 50 = 0 THEN 'bounced'
            WHEN n % 3 = 0 THEN 'opened' ELSE 'delivered' END,
       1, 'message-' || n, at, at, CASE WHEN n % 5000 <> 0 THEN at END,
       CASE WHEN n % 50 <> 0 THEN at END, CASE WHEN n % 3 = 0 THEN at END,
       CASE WHEN n % 9 = 0 THEN at END, CASE WHEN n % 50 = 0 THEN at END,
       CASE WHEN n % 5000 = 1 THEN at END
FROM (SELECT n, now() - n * interval '5 seconds' AS at FROM generate_series(1, 1000000) n) s;

INSERT INTO user_events (id, contact_id, source, name, properties, occurred_at, received_at)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7'
        || substr(md5('u' || n), 1, 3) || '8' || substr(md5('u' || n), 4, 15))::uuid,
       md5('c' || (n % 200000 + 1))::uuid, 'api',
       CASE WHEN n % 100000 = 0 THEN 'rare' ELSE 'event-' || n % 40 END,
       '{"page":"/home"}', at, at
FROM (SELECT n, now() - n * interval '2.6 seconds' AS at FROM generate_series(1, 2000000) n) s;
