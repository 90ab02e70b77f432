"""The kernel that runs cells of Python for execd, for any Python from 3.6 on, with nothing but the standard library.

channel   the messages between the kernel and execd
output    standard output and error
cell      compiling and running a cell, and what is told of its errors
display   values as text, HTML, images
shell     `!command` and the few `%magics`
imports   what is changed in other modules when they are imported
ipython   a stand-in for IPython.display
figures   the matplotlib backend
kernel    all of it together
"""
