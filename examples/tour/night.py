import os
import time

import tradewind as tw


@tw.function(resources={"cpu": os.cpu_count()})
def night(seconds: float = 30.0):
    time.sleep(seconds)
