-- Made by portero.adapters.storage.migrations.creation.
CREATE TABLE audit (
    n INTEGER NOT NULL,
    name TEXT NOT NULL,
    at BIGINT NOT NULL,
    subject TEXT,
    client_id TEXT,
    sid TEXT,
    fields TEXT NOT NULL,
    CONSTRAINT pk_audit PRIMARY KEY (n)
);

CREATE INDEX ix_audit_at ON audit (at);

CREATE INDEX ix_audit_subject_n ON audit (subject, n);

CREATE TABLE authorization_codes (
    code_digest BLOB NOT NULL,
    client_id TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    code_challenge TEXT,
    nonce TEXT,
    scope TEXT NOT NULL,
    resource TEXT NOT NULL,
    subject TEXT NOT NULL,
    browser_session BLOB NOT NULL,
    device_name TEXT NOT NULL,
    place TEXT NOT NULL,
    auth_time BIGINT NOT NULL,
    acr TEXT NOT NULL,
    amr TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    claims TEXT,
    dpop_jkt TEXT,
    used BIGINT,
    sid TEXT,
    vouched TEXT,
    CONSTRAINT pk_authorization_codes PRIMARY KEY (code_digest)
);

CREATE INDEX ix_authorization_codes_expires ON authorization_codes (expires);

CREATE TABLE browser_sessions (
    id_digest BLOB NOT NULL,
    subject TEXT NOT NULL,
    auth_time BIGINT NOT NULL,
    acr TEXT NOT NULL,
    amr TEXT NOT NULL,
    ends BIGINT NOT NULL,
    device TEXT NOT NULL,
    vouched TEXT,
    vouched_session BLOB,
    CONSTRAINT pk_browser_sessions PRIMARY KEY (id_digest)
);

CREATE INDEX ix_browser_sessions_ends ON browser_sessions (ends);

CREATE INDEX ix_browser_sessions_subject ON browser_sessions (subject);

CREATE INDEX ix_browser_sessions_vouched_session ON browser_sessions (vouched_session);

CREATE TABLE clients (
    client_id TEXT NOT NULL,
    client_name TEXT NOT NULL,
    client_type TEXT NOT NULL,
    token_endpoint_auth_method TEXT NOT NULL,
    secret_digest BLOB,
    redirect_uris TEXT NOT NULL,
    post_logout_redirect_uris TEXT NOT NULL,
    grant_types TEXT NOT NULL,
    scope TEXT NOT NULL,
    audiences TEXT NOT NULL,
    refresh_profile TEXT NOT NULL,
    rotation TEXT NOT NULL,
    require_pkce BIGINT NOT NULL,
    first_party BIGINT NOT NULL,
    allowed_origins TEXT NOT NULL,
    jwks TEXT,
    backchannel_logout_uri TEXT,
    enabled BIGINT NOT NULL,
    created BIGINT NOT NULL,
    dpop_bound_access_tokens BIGINT DEFAULT '0' NOT NULL,
    direct_sign_in BIGINT DEFAULT '0' NOT NULL,
    CONSTRAINT pk_clients PRIMARY KEY (client_id)
);

CREATE TABLE consents (
    id_digest BLOB NOT NULL,
    subject TEXT NOT NULL,
    client_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    resource TEXT NOT NULL,
    granted BIGINT NOT NULL,
    CONSTRAINT pk_consents PRIMARY KEY (id_digest)
);

CREATE INDEX ix_consents_subject_client_id ON consents (subject, client_id);

CREATE TABLE counters (
    name TEXT NOT NULL,
    value BIGINT NOT NULL,
    CONSTRAINT pk_counters PRIMARY KEY (name)
);

CREATE TABLE deliveries (
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    receiver TEXT NOT NULL,
    claims TEXT NOT NULL,
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
    sid TEXT NOT NULL,
    browser_session BLOB,
    subject TEXT NOT NULL,
    client_id TEXT NOT NULL,
    device_name TEXT NOT NULL,
    place TEXT NOT NULL,
    created BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    last_access_exp BIGINT NOT NULL,
    absolute_end BIGINT NOT NULL,
    idle_end BIGINT NOT NULL,
    status TEXT NOT NULL,
    end_reason TEXT,
    gone BIGINT NOT NULL,
    status_index BIGINT,
    CONSTRAINT pk_device_sessions PRIMARY KEY (sid)
);

CREATE INDEX ix_device_sessions_browser_session ON device_sessions (browser_session);

CREATE INDEX ix_device_sessions_gone ON device_sessions (gone);

CREATE INDEX ix_device_sessions_status_index ON device_sessions (status_index);

CREATE INDEX ix_device_sessions_subject ON device_sessions (subject);

CREATE TABLE event_streams (
    stream_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    method TEXT NOT NULL,
    endpoint_url TEXT NOT NULL,
    sealed_authorization BLOB,
    events_requested TEXT NOT NULL,
    description TEXT NOT NULL,
    status TEXT NOT NULL,
    status_reason TEXT NOT NULL,
    created BIGINT NOT NULL,
    verified BIGINT NOT NULL,
    CONSTRAINT pk_event_streams PRIMARY KEY (stream_id)
);

CREATE INDEX ix_event_streams_client_id ON event_streams (client_id);

CREATE TABLE linked_identities (
    id_digest BLOB NOT NULL,
    provider TEXT NOT NULL,
    external TEXT NOT NULL,
    subject TEXT NOT NULL,
    label TEXT NOT NULL,
    linked BIGINT NOT NULL,
    CONSTRAINT pk_linked_identities PRIMARY KEY (id_digest)
);

CREATE INDEX ix_linked_identities_subject ON linked_identities (subject);

CREATE TABLE login_transactions (
    id_digest BLOB NOT NULL,
    request TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    CONSTRAINT pk_login_transactions PRIMARY KEY (id_digest)
);

CREATE INDEX ix_login_transactions_expires ON login_transactions (expires);

CREATE TABLE meta (
    singleton BIGINT NOT NULL CONSTRAINT ck_meta_one_row CHECK (singleton = 1),
    epoch TEXT NOT NULL,
    feed_head BIGINT NOT NULL,
    CONSTRAINT pk_meta PRIMARY KEY (singleton)
);

CREATE TABLE notices (
    sid TEXT NOT NULL,
    subject TEXT NOT NULL,
    client_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    at BIGINT NOT NULL,
    CONSTRAINT pk_notices PRIMARY KEY (sid)
);

CREATE TABLE replay_marks (
    digest BLOB NOT NULL,
    expires BIGINT NOT NULL,
    CONSTRAINT pk_replay_marks PRIMARY KEY (digest)
);

CREATE INDEX ix_replay_marks_expires ON replay_marks (expires);

CREATE TABLE revocations (
    n INTEGER NOT NULL,
    iss TEXT NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    at BIGINT NOT NULL,
    until BIGINT NOT NULL,
    micros BIGINT DEFAULT '0' NOT NULL,
    CONSTRAINT pk_revocations PRIMARY KEY (n)
);

CREATE INDEX ix_revocations_until ON revocations (until);

CREATE TABLE signing_keys (
    kid TEXT NOT NULL,
    alg TEXT NOT NULL,
    public_jwk TEXT NOT NULL,
    sealed_private BLOB NOT NULL,
    status TEXT NOT NULL,
    created BIGINT NOT NULL,
    signs_from BIGINT NOT NULL,
    retires BIGINT,
    remove_after BIGINT,
    CONSTRAINT pk_signing_keys PRIMARY KEY (kid)
);

CREATE TABLE users (
    subject TEXT NOT NULL,
    username TEXT NOT NULL,
    username_folded TEXT NOT NULL,
    password_hash TEXT,
    name TEXT NOT NULL,
    email TEXT NOT NULL,
    roles TEXT NOT NULL,
    locale TEXT NOT NULL,
    enabled BIGINT NOT NULL,
    created BIGINT NOT NULL,
    CONSTRAINT pk_users PRIMARY KEY (subject)
);

CREATE UNIQUE INDEX ix_users_username_folded ON users (username_folded);

CREATE TABLE families (
    id BLOB NOT NULL,
    sid TEXT NOT NULL,
    client_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    resource TEXT NOT NULL,
    cnf_jkt TEXT,
    profile TEXT NOT NULL,
    acr TEXT NOT NULL,
    amr TEXT NOT NULL,
    auth_time BIGINT,
    created BIGINT NOT NULL,
    head_digest BLOB NOT NULL,
    head_generation BIGINT NOT NULL,
    head_issued BIGINT NOT NULL,
    head_expires BIGINT NOT NULL,
    head_first_used BIGINT,
    head_attempt_digest BLOB,
    head_successor_box BLOB,
    head_retries BIGINT NOT NULL,
    parent_digest BLOB,
    parent_generation BIGINT,
    parent_issued BIGINT,
    parent_expires BIGINT,
    parent_first_used BIGINT,
    parent_attempt_digest BLOB,
    parent_successor_box BLOB,
    parent_retries BIGINT,
    ring BLOB NOT NULL,
    sharing_run BIGINT NOT NULL,
    status TEXT NOT NULL,
    end_reason TEXT,
    gone BIGINT NOT NULL,
    vouched TEXT,
    CONSTRAINT pk_families PRIMARY KEY (id),
    CONSTRAINT fk_families_sid FOREIGN KEY(sid) REFERENCES device_sessions (sid) ON DELETE CASCADE
);

CREATE INDEX ix_families_gone ON families (gone);

CREATE INDEX ix_families_sid ON families (sid);

CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

INSERT INTO alembic_version (version_num) VALUES ( '0275' );
