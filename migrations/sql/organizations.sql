-- Doors that make organizations, name them and list a person's own.
SELECT 1;
