"""Recurrent layers: RNN, LSTM and GRU over the time axis."""

__all__: list[str] = []
