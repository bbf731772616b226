"""What generators that train networks share. Only fitting needs PyTorch: models sample and are stored as plain arrays.

pace            how often, on how much, and with how much noise to train: a function of public things
steps           the planned steps, made
average         a moving average of parameters
network         a trained module as arrays, run without PyTorch
autoregression  rows drawn column by column
decoder         rows drawn from a code
network_model   the fitted model: samples, projects, is stored
"""
