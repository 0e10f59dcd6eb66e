"""Tables and views of ClickHouse that no run makes: with them the graph is whole."""
