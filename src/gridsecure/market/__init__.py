"""The operator of the data market (数据市场): its database, its log, its decisions on documents."""
