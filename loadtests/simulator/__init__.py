"""Stoke in virtual time: the code that decides in production, replayed over a trace of arrivals.

Nothing here waits and nothing here is asyncio: a heap of events drives the real `step`, `plan`, gate and usage book.
Everything it gives is simulated, and says so.
"""
