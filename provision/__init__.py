"""How many instances there should be: pure arithmetic. No I/O, no clock, nothing imported from the other packages."""
