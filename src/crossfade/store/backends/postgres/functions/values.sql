-- From a JSON value, or a text that a path captured, to a column's value: model/columns.py.

CREATE OR REPLACE FUNCTION {schema}.as_text(value json) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $body$
DECLARE
    found text := value #>> '{}';
BEGIN
    CASE json_typeof(value)
    WHEN 'string' THEN
        RETURN {schema}.as_text(found);
    WHEN 'number' THEN
        RETURN CASE WHEN found = '-0' THEN '0' WHEN found ~ '^-?[0-9]{1,40}$' THEN found END;
    ELSE
        RETURN NULL;
    END CASE;
END $body$;

-- A text over 2,000 bytes is left out.
CREATE OR REPLACE FUNCTION {schema}.as_text(value text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $body$ SELECT CASE WHEN octet_length($1) <= 2000 THEN $1 END $body$;

CREATE OR REPLACE FUNCTION {schema}.as_bigint(value json) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $body$
DECLARE
    found text := value::text;
BEGIN
    IF found !~ '^-?[0-9]{1,19}$' OR found::numeric NOT BETWEEN -9223372036854775808 AND 9223372036854775807 THEN
        RETURN NULL;
    END IF;
    RETURN found::bigint;
END $body$;

CREATE OR REPLACE FUNCTION {schema}.as_boolean(value json) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $body$
BEGIN
    RETURN CASE WHEN json_typeof(value) = 'boolean' THEN value::text = 'true' END;
END $body$;

CREATE OR REPLACE FUNCTION {schema}.as_timestamp(value json) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $body$
BEGIN
    RETURN CASE WHEN json_typeof(value) = 'string' THEN {schema}.as_timestamp(value #>> '{}') END;
END $body$;

-- RFC 3339, cut off after microseconds; without an offset it is UTC. The server's own reading takes more, and rounds.
CREATE OR REPLACE FUNCTION {schema}.as_timestamp(value text) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $body$
DECLARE
    ending integer := 0;  -- length of the offset
    year   integer;
    month  integer;
    day    integer;
    moment timestamptz;
BEGIN
    IF value !~ $re$^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])[Tt ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?$$re$ THEN
        RETURN NULL;
    END IF;
    year := left(value, 4);
    month := substr(value, 6, 2);
    day := substr(value, 9, 2);
    IF year = 0 OR day > 28 AND day > (CASE WHEN month IN (4, 6, 9, 11) THEN 30 WHEN month <> 2 THEN 31
        WHEN year % 4 = 0 AND (year % 100 <> 0 OR year % 400 = 0) THEN 29 ELSE 28 END) THEN
        RETURN NULL;
    END IF;
    ending := CASE WHEN right(value, 1) IN ('Z', 'z') THEN 1 WHEN left(right(value, 6), 1) IN ('+', '-') THEN 6 ELSE 0 END;
    moment := make_timestamptz(
        year, month, day, substr(value, 12, 2)::integer, substr(value, 15, 2)::integer,
        left(substr(left(value, length(value) - ending), 18), 9)::double precision, 'UTC'
    );
    IF ending < 6 THEN
        RETURN moment;
    END IF;
    RETURN moment - (left(right(value, 6), 1) || '1')::integer
        * (substr(right(value, 5), 1, 2)::integer * 60 + right(value, 2)::integer) * interval '1 minute';
END $body$;
