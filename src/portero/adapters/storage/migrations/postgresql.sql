-- Made by portero.adapters.storage.migrations.creation.
CREATE TABLE audit (
    n BIGSERIAL NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    subject TEXT COLLATE "C",
    client_id TEXT COLLATE "C",
    sid TEXT COLLATE "C",
    fields TEXT COLLATE "C" NOT NULL,
    CONSTRAINT pk_audit PRIMARY KEY (n)
);

CREATE INDEX ix_audit_at ON audit (at);

CREATE INDEX ix_audit_subject_n ON audit (subject, n);

CREATE TABLE authorization_codes (
    code_digest BYTEA NOT NULL,
    client_id TEXT COLLATE "C" NOT NULL,
    redirect_uri TEXT COLLATE "C" NOT NULL,
    code_challenge TEXT COLLATE "C",
    nonce TEXT COLLATE "C",
    scope TEXT COLLATE "C" NOT NULL,
    resource TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    browser_session BYTEA NOT NULL,
    device_name TEXT COLLATE "C" NOT NULL,
    place TEXT COLLATE "C" NOT NULL,
    auth_time BIGINT NOT NULL,
    acr TEXT COLLATE "C" NOT NULL,
    amr TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    claims TEXT COLLATE "C",
    dpop_jkt TEXT COLLATE "C",
    used BIGINT,
    sid TEXT COLLATE "C",
    vouched TEXT COLLATE "C",
    CONSTRAINT pk_authorization_codes PRIMARY KEY (code_digest)
);

CREATE INDEX ix_authorization_codes_expires ON authorization_codes (expires);

CREATE TABLE browser_sessions (
    id_digest BYTEA NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    auth_time BIGINT NOT NULL,
    acr TEXT COLLATE "C" NOT NULL,
    amr TEXT COLLATE "C" NOT NULL,
    ends BIGINT NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    vouched TEXT COLLATE "C",
    vouched_session BYTEA,
    CONSTRAINT pk_browser_sessions PRIMARY KEY (id_digest)
);

CREATE INDEX ix_browser_sessions_ends ON browser_sessions (ends);

CREATE INDEX ix_browser_sessions_subject ON browser_sessions (subject);

CREATE INDEX ix_browser_sessions_vouched_session ON browser_sessions (vouched_session);

CREATE TABLE clients (
    client_id TEXT COLLATE "C" NOT NULL,
    client_name TEXT COLLATE "C" NOT NULL,
    client_type TEXT COLLATE "C" NOT NULL,
    token_endpoint_auth_method TEXT COLLATE "C" NOT NULL,
    secret_digest BYTEA,
    redirect_uris TEXT COLLATE "C" NOT NULL,
    post_logout_redirect_uris TEXT COLLATE "C" NOT NULL,
    grant_types TEXT COLLATE "C" NOT NULL,
    scope TEXT COLLATE "C" NOT NULL,
    audiences TEXT COLLATE "C" NOT NULL,
    refresh_profile TEXT COLLATE "C" NOT NULL,
    rotation TEXT COLLATE "C" NOT NULL,
    require_pkce BIGINT NOT NULL,
    first_party BIGINT NOT NULL,
    allowed_origins TEXT COLLATE "C" NOT NULL,
    jwks TEXT COLLATE "C",
    backchannel_logout_uri TEXT COLLATE "C",
    enabled BIGINT NOT NULL,
    created BIGINT NOT NULL,
    dpop_bound_access_tokens BIGINT DEFAULT '0' NOT NULL,
    direct_sign_in BIGINT DEFAULT '0' NOT NULL,
    CONSTRAINT pk_clients PRIMARY KEY (client_id)
);

CREATE TABLE consents (
    id_digest BYTEA NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    client_id TEXT COLLATE "C" NOT NULL,
    scope TEXT COLLATE "C" NOT NULL,
    resource TEXT COLLATE "C" NOT NULL,
    granted BIGINT NOT NULL,
    CONSTRAINT pk_consents PRIMARY KEY (id_digest)
);

CREATE INDEX ix_consents_subject_client_id ON consents (subject, client_id);

CREATE TABLE counters (
    name TEXT COLLATE "C" NOT NULL,
    value BIGINT NOT NULL,
    CONSTRAINT pk_counters PRIMARY KEY (name)
);

CREATE TABLE deliveries (
    id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    receiver TEXT COLLATE "C" NOT NULL,
    claims TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL,
    due BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    CONSTRAINT pk_deliveries PRIMARY KEY (id)
);

CREATE INDEX ix_deliveries_due ON deliveries (due);

CREATE INDEX ix_deliveries_expires ON deliveries (expires);

CREATE INDEX ix_deliveries_receiver_created_id ON deliveries (receiver, created, id);

CREATE TABLE device_sessions (
    sid TEXT COLLATE "C" NOT NULL,
    browser_session BYTEA,
    subject TEXT COLLATE "C" NOT NULL,
    client_id TEXT COLLATE "C" NOT NULL,
    device_name TEXT COLLATE "C" NOT NULL,
    place TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    last_access_exp BIGINT NOT NULL,
    absolute_end BIGINT NOT NULL,
    idle_end BIGINT NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    end_reason TEXT COLLATE "C",
    gone BIGINT NOT NULL,
    status_index BIGINT,
    CONSTRAINT pk_device_sessions PRIMARY KEY (sid)
);

CREATE INDEX ix_device_sessions_browser_session ON device_sessions (browser_session);

CREATE INDEX ix_device_sessions_gone ON device_sessions (gone);

CREATE INDEX ix_device_sessions_status_index ON device_sessions (status_index);

CREATE INDEX ix_device_sessions_subject ON device_sessions (subject);

CREATE TABLE event_streams (
    stream_id TEXT COLLATE "C" NOT NULL,
    client_id TEXT COLLATE "C" NOT NULL,
    method TEXT COLLATE "C" NOT NULL,
    endpoint_url TEXT COLLATE "C" NOT NULL,
    sealed_authorization BYTEA,
    events_requested TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    status_reason TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL,
    verified BIGINT NOT NULL,
    CONSTRAINT pk_event_streams PRIMARY KEY (stream_id)
);

CREATE INDEX ix_event_streams_client_id ON event_streams (client_id);

CREATE TABLE linked_identities (
    id_digest BYTEA NOT NULL,
    provider TEXT COLLATE "C" NOT NULL,
    external TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    label TEXT COLLATE "C" NOT NULL,
    linked BIGINT NOT NULL,
    CONSTRAINT pk_linked_identities PRIMARY KEY (id_digest)
);

CREATE INDEX ix_linked_identities_subject ON linked_identities (subject);

CREATE TABLE login_transactions (
    id_digest BYTEA NOT NULL,
    request TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    CONSTRAINT pk_login_transactions PRIMARY KEY (id_digest)
);

CREATE INDEX ix_login_transactions_expires ON login_transactions (expires);

CREATE TABLE meta (
    singleton BIGINT NOT NULL CONSTRAINT ck_meta_one_row CHECK (singleton = 1),
    epoch TEXT COLLATE "C" NOT NULL,
    feed_head BIGINT NOT NULL,
    CONSTRAINT pk_meta PRIMARY KEY (singleton)
);

CREATE TABLE notices (
    sid TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    client_id TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    CONSTRAINT pk_notices PRIMARY KEY (sid)
);

CREATE TABLE replay_marks (
    digest BYTEA NOT NULL,
    expires BIGINT NOT NULL,
    CONSTRAINT pk_replay_marks PRIMARY KEY (digest)
);

CREATE INDEX ix_replay_marks_expires ON replay_marks (expires);

CREATE TABLE revocations (
    n BIGINT NOT NULL,
    iss TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    until BIGINT NOT NULL,
    micros BIGINT DEFAULT '0' NOT NULL,
    CONSTRAINT pk_revocations PRIMARY KEY (n)
);

CREATE INDEX ix_revocations_until ON revocations (until);

CREATE TABLE signing_keys (
    kid TEXT COLLATE "C" NOT NULL,
    alg TEXT COLLATE "C" NOT NULL,
    public_jwk TEXT COLLATE "C" NOT NULL,
    sealed_private BYTEA NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL,
    signs_from BIGINT NOT NULL,
    retires BIGINT,
    remove_after BIGINT,
    CONSTRAINT pk_signing_keys PRIMARY KEY (kid)
);

CREATE TABLE users (
    subject TEXT COLLATE "C" NOT NULL,
    username TEXT COLLATE "C" NOT NULL,
    username_folded TEXT COLLATE "C" NOT NULL,
    password_hash TEXT COLLATE "C",
    name TEXT COLLATE "C" NOT NULL,
    email TEXT COLLATE "C" NOT NULL,
    roles TEXT COLLATE "C" NOT NULL,
    locale TEXT COLLATE "C" NOT NULL,
    enabled BIGINT NOT NULL,
    created BIGINT NOT NULL,
    CONSTRAINT pk_users PRIMARY KEY (subject)
);

CREATE UNIQUE INDEX ix_users_username_folded ON users (username_folded);

CREATE TABLE families (
    id BYTEA NOT NULL,
    sid TEXT COLLATE "C" NOT NULL,
    client_id TEXT COLLATE "C" NOT NULL,
    scope TEXT COLLATE "C" NOT NULL,
    resource TEXT COLLATE "C" NOT NULL,
    cnf_jkt TEXT COLLATE "C",
    profile TEXT COLLATE "C" NOT NULL,
    acr TEXT COLLATE "C" NOT NULL,
    amr TEXT COLLATE "C" NOT NULL,
    auth_time BIGINT,
    created BIGINT NOT NULL,
    head_digest BYTEA NOT NULL,
    head_generation BIGINT NOT NULL,
    head_issued BIGINT NOT NULL,
    head_expires BIGINT NOT NULL,
    head_first_used BIGINT,
    head_attempt_digest BYTEA,
    head_successor_box BYTEA,
    head_retries BIGINT NOT NULL,
    parent_digest BYTEA,
    parent_generation BIGINT,
    parent_issued BIGINT,
    parent_expires BIGINT,
    parent_first_used BIGINT,
    parent_attempt_digest BYTEA,
    parent_successor_box BYTEA,
    parent_retries BIGINT,
    ring BYTEA NOT NULL,
    sharing_run BIGINT NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    end_reason TEXT COLLATE "C",
    gone BIGINT NOT NULL,
    vouched TEXT COLLATE "C",
    CONSTRAINT pk_families PRIMARY KEY (id),
    CONSTRAINT fk_families_sid FOREIGN KEY(sid) REFERENCES device_sessions (sid) ON DELETE CASCADE
)
 WITH (fillfactor = 70);

CREATE INDEX ix_families_gone ON families (gone);

CREATE INDEX ix_families_sid ON families (sid);

CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

INSERT INTO alembic_version (version_num) VALUES ( '0275' );
