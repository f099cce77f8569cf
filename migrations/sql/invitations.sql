-- Doors through which an invitation's holder looks at it, accepts or declines it.
SELECT 1;
