"""Carries plans out: cache, work queue, pollers, reconciler, supervisor."""
