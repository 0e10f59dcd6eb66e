-- Called by the sidecar when the client of a read has gone; every user may stop its own queries.
KILL QUERY WHERE query_id = {query_id:String} ASYNC
