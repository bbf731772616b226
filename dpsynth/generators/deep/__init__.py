"""What generators that train networks share. Only fitting needs PyTorch: models sample and are stored as plain arrays.

pace            how often, on how much, and with how much noise to train, and the plan for it: of public things
start           the first looks, and where they let a network start
steps           the planned steps, made
average         a moving average of parameters
network         a trained module as arrays, run without PyTorch
cells           logits of a column's cells
autoregression  rows drawn column by column
decoder         rows drawn from a code
network_rows    a network as a distribution of rows
raked           pairs the network gets most wrong, counted, and its rows weighted to fit them
critic          the network that a GAN's generator is judged by, and its loss on fakes
fakes           rows of a GAN's generator, with slopes
network_model   the fitted model: samples, projects, is stored
"""
