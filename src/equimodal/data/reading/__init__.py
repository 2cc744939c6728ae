"""Reading what people download: archives, pictures, videos, pickles and array files, with one line for whatever is wrong with them."""
