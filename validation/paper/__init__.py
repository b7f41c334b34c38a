"""The paper's small experiments, run with every seed: python -m validation.paper [NAME ..]"""
