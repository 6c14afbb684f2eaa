//! Every method, every caller, every answer.
