"""What was used, written down: instance time, memory time and requests by hour and day, and arrivals to replay.

`meter` and `recorder` add up, `bill` and `recorded` make answers of it, all pure; `store` keeps it in Redis; `book` is
the loop between them.
"""
