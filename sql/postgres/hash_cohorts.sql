-- Called by pipelines cohorts.comparison: a scan of cohorts, on purpose. Of each company how many rows
-- and the XOR of their hashes, which no order changes; rows have a key, so that none is there twice.
-- Lengths in bytes keep apart texts that only together are the same. All companies where none is named.
SELECT company_id, count(*), bit_xor(warehouse_hash(concat_ws('/',
    id, company_id, warehouse_milliseconds(created_at), warehouse_milliseconds(updated_at),
    octet_length(convert_to(name, 'UTF8')), octet_length(convert_to(coalesce(description, ''), 'UTF8')),
    name, coalesce(description, ''), warehouse_json(filters))))
FROM cohorts
WHERE cardinality(%(company_ids)s::text[]) = 0 OR company_id = ANY (%(company_ids)s::text[])
GROUP BY company_id;
