-- Users and their sessions. All times are whole seconds since 1970, UTC.

CREATE TABLE accounts_user (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- a number is never given twice, so no row of a deleted user changes hands
    username TEXT NOT NULL UNIQUE,
    email TEXT NOT NULL,
    password TEXT NOT NULL, -- argon2id, as a PHC string
    is_staff BOOLEAN NOT NULL,
    is_superuser BOOLEAN NOT NULL,
    is_active BOOLEAN NOT NULL,
    created BIGINT NOT NULL,
    last_login BIGINT
);

CREATE TABLE accounts_session (
    key TEXT NOT NULL PRIMARY KEY, -- the SHA-256 of what the cookie holds
    user_id BIGINT NOT NULL REFERENCES accounts_user (id) ON DELETE CASCADE,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL
);

CREATE INDEX accounts_session_user_id ON accounts_session (user_id);
CREATE INDEX accounts_session_expires ON accounts_session (expires);
