import random

import tradewind as tw

loss = 1.0
for step in range(5):
    loss *= random.uniform(0.6, 0.9)
    tw.log_metric("loss", loss, step=step)
    print(f"step {step}: loss {loss:.3f}")
