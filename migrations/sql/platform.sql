-- The operators' door.
SELECT 1;
