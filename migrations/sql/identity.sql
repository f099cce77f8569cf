-- The doors of app_identity: sign-up, verification, sign-in, reset, sessions.
SELECT 1;
