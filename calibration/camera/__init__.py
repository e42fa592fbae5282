"""Setting up camera, lens and light: measured step by step, each with a number and a refusal.

operator presents a target ─▶ camera takes raw pictures ─▶ a step measures ─▶ result, plots, next setting
"""
