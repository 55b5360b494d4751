"""Series ⇄ volume: headers grouped, split, ordered and checked; pixels as a RAS array; masks back on the frames."""
