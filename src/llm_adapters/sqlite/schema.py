"""The tables, as a list of migrations: version n is what the first n of them make.

A migration that was released never changes; a new one is appended. Times are UTC ISO text of one width, so that
they sort; energies are integer Wh; absence is NULL. `ceilings` takes what it is given on purpose: a row that cannot
be trusted must be seen as doubtful by whoever loads it, not stop the start.
"""

from __future__ import annotations

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value)",
        """INSERT INTO facts VALUES ('schema', 0), ('factory', 1), ('last_transaction_id', 0), ('latest_utc', NULL),
        ('probe', NULL)""",
        "CREATE TABLE site (id INTEGER PRIMARY KEY CHECK (id = 1), document TEXT NOT NULL, crc INTEGER NOT NULL)",
        """CREATE TABLE sessions (
            transaction_id INTEGER PRIMARY KEY CHECK (transaction_id > 0),
            station_id TEXT NOT NULL,
            connector INTEGER NOT NULL,
            id_tag TEXT,
            started_at TEXT NOT NULL,
            meter_start_wh INTEGER NOT NULL,
            register_wh INTEGER NOT NULL,
            energy_wh INTEGER NOT NULL,
            charging_ms INTEGER NOT NULL,
            idle_ms INTEGER NOT NULL,
            stopped_at TEXT,
            meter_stop_wh INTEGER,
            stop_reason TEXT,
            state TEXT NOT NULL CHECK (state IN ('open', 'closed', 'interrupted')),
            flagged INTEGER NOT NULL CHECK (flagged IN (0, 1)),
            register_at TEXT,
            doubted_wh INTEGER
        )""",
        "CREATE INDEX sessions_by_start ON sessions (started_at, transaction_id)",
        "CREATE INDEX sessions_open ON sessions (transaction_id) WHERE state = 'open'",
        "CREATE TABLE ceilings (station_id, connector, limit_ma, crc, PRIMARY KEY (station_id, connector))",
        "CREATE TABLE badges (key TEXT PRIMARY KEY, document TEXT NOT NULL)",
        """CREATE TABLE audit (
            id INTEGER PRIMARY KEY,
            at TEXT NOT NULL, by TEXT NOT NULL, what TEXT NOT NULL, old TEXT NOT NULL, new TEXT NOT NULL
        )""",
        """CREATE TABLE refused_starts (
            id INTEGER PRIMARY KEY,
            at TEXT NOT NULL, station_id TEXT NOT NULL, id_tag TEXT NOT NULL, verdict TEXT NOT NULL,
            transaction_id INTEGER
        )""",
        """CREATE TABLE users (
            name TEXT PRIMARY KEY COLLATE NOCASE,
            role TEXT NOT NULL CHECK (role IN ('administrator', 'advanced', 'standard')),
            temporary INTEGER NOT NULL CHECK (temporary IN (0, 1)),
            password TEXT
        )""",
        "INSERT INTO users VALUES ('admin', 'administrator', 1, NULL)",
        """CREATE TABLE web_sessions (
            cookie_hash TEXT PRIMARY KEY,
            user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
            created_at TEXT NOT NULL,
            seen_at TEXT NOT NULL
        )""",
        "CREATE INDEX web_sessions_by_user ON web_sessions (user)",
        """CREATE TABLE tokens (
            token_hash TEXT PRIMARY KEY,
            label TEXT NOT NULL,
            role TEXT NOT NULL CHECK (role IN ('administrator', 'advanced', 'standard')),
            created_at TEXT NOT NULL
        )""",
    ),
    (  # sessions are looked for by station, badge and state, newest first
        "ALTER TABLE sessions ADD COLUMN badge_key TEXT",
        """UPDATE sessions SET badge_key =
            lower(replace(replace(replace(id_tag, ':', ''), ' ', ''), char(9), ''))""",
        "DROP INDEX sessions_by_start",
        "DROP INDEX sessions_open",
        "CREATE INDEX sessions_by_start ON sessions (started_at, transaction_id, energy_wh, state)",
        "CREATE INDEX sessions_by_station ON sessions (station_id, started_at)",
        "CREATE INDEX sessions_by_badge ON sessions (badge_key, started_at)",
        "CREATE INDEX sessions_unusual ON sessions (state, started_at) WHERE state <> 'closed'",
    ),
    (
        "CREATE TABLE station_keys (station_id TEXT PRIMARY KEY, hash TEXT NOT NULL)",
        "CREATE TABLE station_models (model TEXT PRIMARY KEY, document TEXT NOT NULL)",
    ),
    (
        "CREATE TABLE reservations (number INTEGER PRIMARY KEY, document TEXT NOT NULL)",
        """CREATE TABLE station_reports (
            id INTEGER PRIMARY KEY,
            at TEXT NOT NULL, station_id TEXT NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL, detail TEXT NOT NULL
        )""",
    ),
    (
        """CREATE TABLE external_limits (
            id TEXT NOT NULL,
            set_at TEXT NOT NULL,
            ended INTEGER NOT NULL CHECK (ended IN (0, 1)),
            document TEXT NOT NULL,
            PRIMARY KEY (id, set_at)
        )""",
        "CREATE INDEX external_limits_ended ON external_limits (set_at) WHERE ended",
    ),
    (
        """CREATE TABLE uplink_queue (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            message_id TEXT NOT NULL,
            station_id TEXT NOT NULL,
            kind TEXT NOT NULL CHECK (kind IN ('start', 'meter', 'stop')),
            transaction_id INTEGER NOT NULL,
            connector INTEGER NOT NULL,
            id_tag TEXT,
            meter_wh INTEGER,
            at TEXT,
            reason TEXT NOT NULL DEFAULT '',
            said TEXT NOT NULL,
            refusal TEXT NOT NULL DEFAULT ''
        )""",
        "CREATE INDEX uplink_queue_by_station ON uplink_queue (station_id, refusal, id)",
        "CREATE INDEX uplink_queue_by_transaction ON uplink_queue (transaction_id)",
        """CREATE TABLE uplink_transactions (
            transaction_id INTEGER PRIMARY KEY,
            station_id TEXT NOT NULL,
            cpo_id TEXT,
            stopped INTEGER NOT NULL DEFAULT 0 CHECK (stopped IN (0, 1)),
            sent INTEGER NOT NULL DEFAULT 0 CHECK (sent IN (0, 1)),
            doubtful INTEGER NOT NULL DEFAULT 0 CHECK (doubtful IN (0, 1))
        )""",
        "CREATE INDEX uplink_transactions_by_cpo ON uplink_transactions (station_id, cpo_id)",
        "CREATE INDEX uplink_transactions_doubtful ON uplink_transactions (station_id) WHERE doubtful = 1",
        """CREATE TABLE uplink_notes (
            station_id TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (station_id, name)
        )""",
        """CREATE TABLE uplink_secrets (
            station_id TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (station_id, name)
        )""",
        """CREATE TABLE cpo_verdicts (
            place INTEGER PRIMARY KEY AUTOINCREMENT,
            id_tag TEXT NOT NULL UNIQUE,
            verdict TEXT NOT NULL,
            expires_at TEXT
        )""",
    ),
    ("CREATE TABLE commissions (station_id TEXT PRIMARY KEY, document TEXT NOT NULL)",),
    ("CREATE TABLE local_lists (station_id TEXT PRIMARY KEY, document TEXT NOT NULL)",),
    ("ALTER TABLE sessions ADD COLUMN integrated INTEGER NOT NULL DEFAULT 0 CHECK (integrated IN (0, 1))",),
    (
        """CREATE TABLE mail (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            document TEXT NOT NULL, password TEXT NOT NULL, sent_month TEXT NOT NULL
        )""",
    ),
    (  # a CPO numbers the reservations of each station as it likes
        "ALTER TABLE reservations RENAME TO reservations_by_number",
        """CREATE TABLE reservations (
            station_id TEXT NOT NULL, number INTEGER NOT NULL, document TEXT NOT NULL, PRIMARY KEY (station_id, number)
        )""",
        """INSERT OR REPLACE INTO reservations SELECT json_extract(document, '$.station_id'), number,
            json_set(document, '$.for_group', json('false')) FROM reservations_by_number
            WHERE json_valid(document) AND json_extract(document, '$.station_id') IS NOT NULL""",
        "DROP TABLE reservations_by_number",
    ),
    ("CREATE TABLE out_of_use (station_id TEXT PRIMARY KEY, document TEXT NOT NULL)",),
    ("ALTER TABLE ceilings ADD COLUMN left_ma",),
)
