"""Recurrent layers: RNN, LSTM and GRU over the time axis."""

from bp_arrays.recurrence._gru import GRU
from bp_arrays.recurrence._lstm import LSTM
from bp_arrays.recurrence._rnn import RNN

__all__ = ["GRU", "LSTM", "RNN"]
