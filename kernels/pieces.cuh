// Many arrays in one launch. They are cut into pieces, and the blocks take the pieces in turn. The arrays come by value,
// in a struct that is part of the launch's arguments: where each lies, how long it is, and the number of its first
// piece. So no table of addresses has to be copied to the device. All arguments together have at most 4 KB, which is why
// a struct has room for some arrays only; more arrays take more launches.

// The elements [start, stop) of an array.
struct Piece {
    int array, start, stop;
};

// The piece of this number. `arrays` has `size` and `first_piece` of each of its `count` arrays.
template <class Arrays>
__device__ __forceinline__ Piece find_piece(const Arrays &arrays, int count, int piece) {
    int low = 0, high = count;  // the array is in [low, high): the last one that begins no later than this piece
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (arrays.first_piece[middle] <= piece) low = middle;
        else high = middle;
    }
    int start = (piece - arrays.first_piece[low]) * PIECE;
    return {low, start, min(start + PIECE, arrays.size[low])};
}
