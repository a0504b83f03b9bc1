"""Several processes that compute together, the ranks: started by mpiexec, on one machine or on many.

launch.py        was this process started as one of several?
communicator.py  what they say to each other; mpi.py and nccl.py carry it
batch.py         operations on a batch whose images are spread over the ranks
"""
