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
    m      text[] := regexp_match(
        value,
        $re$^([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?(?:[Zz]|([+-])([0-9]{2}):([0-5][0-9]))?$$re$
    );
    month  date;
    offset_minutes integer;
BEGIN
    IF m IS NULL OR m[1] = '0000' OR m[2] NOT BETWEEN '01' AND '12' OR m[4] > '23' OR m[5] > '59' OR m[6] > '59' OR m[9] > '23' THEN
        RETURN NULL;
    END IF;
    month := make_date(m[1]::integer, m[2]::integer, 1);
    IF m[3]::integer NOT BETWEEN 1 AND extract(day FROM month + interval '1 month' - interval '1 day') THEN
        RETURN NULL;
    END IF;
    offset_minutes := coalesce((m[8] || '1')::integer * (m[9]::integer * 60 + m[10]::integer), 0);
    RETURN make_timestamp(m[1]::integer, m[2]::integer, m[3]::integer, m[4]::integer, m[5]::integer, m[6]::integer) AT TIME ZONE 'UTC'
        + left(rpad(coalesce(m[7], '0'), 6, '0'), 6)::integer * interval '1 microsecond' - offset_minutes * interval '1 minute';
END $body$;
