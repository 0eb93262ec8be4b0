import tradewind as tw


@tw.service(model="late")
def late(rows): ...


flight = {"sched_dep_time": 1745, "distance": 1065, "carrier": "B6", "origin": "EWR"}
print(late.remote(rows=[flight]))
