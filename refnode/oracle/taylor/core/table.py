"""A tape as a table: the kinds of operations and the columns of a row (see `refnode.oracle.taylor.tape`)."""

LINEAR, PRODUCT, PLUS, CHAIN = range(4)
KIND, OUT, N, A, B, ROWS, W, S_OUT, S_A, S_B, FUNCTION, LIVE, TURNED = range(13)
