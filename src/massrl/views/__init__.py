"""Views: which strategies exist, what a plan draws, and how pixels follow it.

A view is made in two halves. A *plan* is drawn from ``(seed, epoch, image index, view index)`` and
touches no pixel; an *executor* is a deterministic function of an image and its plan.
"""
